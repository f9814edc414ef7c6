//go:build cuda

// Package emulator lets tests of the CUDA device run where there is no GPU: a libcuda and a libnvrtc, built by the host's C++
// compiler, that run the same kernel sources on the CPU, thread for thread. It is for tests and CI; it is no device for users, and
// nothing but tests imports it.
//
//	cuda, nvrtc := emulator.Libraries(t)
//	card, err := driver.Open(0, driver.Options{CUDA: cuda, NVRTC: nvrtc, Cache: "-"})
//
// # How kernels run
//
// Kernels include common.cuh, which includes native/emulated.h where EMULATED is defined. Each thread of a block is a fiber;
// fibers are switched where CUDA lets threads wait for each other: barriers, shuffles, votes, mma, ldmatrix. Blocks run one
// after another on the operating system thread that launches, so a kernel whose blocks wait for each other never ends here.
//
// The emulator is stricter than a card, so that tests see what a card might only do some day. Memory, shared or not, begins as 0xff,
// which is NaN. An asynchronous copy turns its target into NaN at once and arrives in the wait that covers it. Lanes named by a mask
// must come to the same call. An allocation ends at a page that nothing may touch, freed memory is never used again, and what is
// written beside an allocation is found after the launch. Misaligned accesses, indices out of an array's bounds and too
// large shifts end a kernel. All of these, and deadlocks, become CUDA errors whose text names kernel, block and thread.
//
// # Numbers
//
// Float arithmetic is IEEE's, without contraction; exp2f and its like are the C library's. mma adds its sixteen products and
// the accumulator in double, in order, and rounds once. Tensor cores truncate, and each generation adds in an order of
// its own. So compare with a card, or with another formula, within a tolerance, and two kernels with each other bit for bit.
//
// # Settings
//
// The environment is read when it matters, so a test can change it between calls:
//
//	EMULATED_ORDER=seed               threads and blocks run in an order drawn from the seed; results must not change
//	EMULATED_TIMEOUT=seconds          of processor time that a kernel may take; 300
//	EMULATED_CUDA_LATE=1              work runs when somebody waits for it, not when it is submitted
//	EMULATED_CUDA_FAULT=a,b           nodevice, init, old-driver, alloc:n, KERNEL:n (the n-th one fails, counted from then on)
//	EMULATED_CUDA_DEVICES=n           cards; 1
//	EMULATED_CUDA_MEMORY=bytes        of each card; 4 GiB
//	EMULATED_CUDA_MULTIPROCESSORS=n   of each card; 8, so that persistent kernels stay small
//	EMULATED_CUDA_DEBUG=1             compiles kernels for a debugger
//	EMULATED_CUDA_FLAGS=…             more flags for the compiler; -DEMULATED_UCONTEXT replaces the assembly
//
// Blocks of one kernel never overlap, so a race between blocks does not show, nor does a read before wait().
//
// # Without Go
//
// A C++ program can include a .cu file and launch its kernels, say under a debugger:
//
//	emulated::Buffer<float> x(1000);              // guarded, all NaN
//	Params p = {x.data(), 1000};
//	std::string report = emulated::launch("scale", p, {8}, {128}, shared); // "" if all went well
//
//	g++ -std=c++17 -O2 -g -ffp-contract=off -DEMULATED -DELEMENT_BF16 -I device_cuda/emulator/native -I device_cuda/kernels -x c++ try.cpp
//
// CXX names the compiler; else c++, g++ or clang++ is used.
package emulator

//go:build cuda && linux

package emulator

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

//go:embed native
var native embed.FS

var errNoCompiler = errors.New("no C++ compiler (set CXX, or install g++ or clang++)")

var prepared = sync.OnceValues(prepare)

// Libraries returns the paths of the emulator's libcuda and libnvrtc. They are compiled when the sources have changed, and kept
// in the user's cache folder. Without a C++ compiler the test is skipped; with CI set it fails.
func Libraries(t testing.TB) (cuda, nvrtc string) {
	t.Helper()
	return library(t, "libcuda.so.1", "cuda.cpp", "launches.cpp"), library(t, "libnvrtc.so.13", "nvrtc.cpp")
}

// OldDriver returns the path of a libcuda for CUDA 11.0, which lacks calls that the driver layer needs.
func OldDriver(t testing.TB) string {
	t.Helper()
	return library(t, "libcuda-old.so.1", "-DEMULATED_OLD_DRIVER", "cuda.cpp", "launches.cpp")
}

func library(t testing.TB, name string, arguments ...string) string {
	t.Helper()
	w, err := prepared()
	switch {
	case errors.Is(err, errNoCompiler) && os.Getenv("CI") == "":
		t.Skipf("emulated card: %v", err)
	case err != nil:
		t.Fatalf("emulated card: %v", err)
	}
	path, err := w.build(name, arguments...)
	if err != nil {
		t.Fatalf("emulated card: %v", err)
	}
	return path
}

// A workshop is a folder of sources and of what was built from them with one compiler. Kernels find the headers there.
type workshop struct {
	folder, compiler, hash string
}

func prepare() (workshop, error) {
	w := workshop{}
	version, err := w.findCompiler()
	if err != nil {
		return w, err
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%q %q\n", w.compiler, version)
	files, err := native.ReadDir("native")
	if err != nil {
		return w, err
	}
	texts := make([][]byte, len(files))
	for i, f := range files {
		if texts[i], err = native.ReadFile("native/" + f.Name()); err != nil {
			return w, err
		}
		fmt.Fprintf(hash, "%s %q\n", f.Name(), texts[i])
	}
	w.hash = hex.EncodeToString(hash.Sum(nil)[:8])

	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	all := filepath.Join(cache, "minisgl", "emulator")
	dropOld(all)
	w.folder = filepath.Join(all, w.hash)
	if err := os.MkdirAll(filepath.Join(w.folder, "modules"), 0o700); err != nil {
		return w, err
	}
	unlock, err := w.lock()
	if err != nil {
		return w, err
	}
	defer unlock()
	for i, f := range files {
		if err := os.WriteFile(filepath.Join(w.folder, f.Name()), texts[i], 0o600); err != nil {
			return w, err
		}
	}
	return w, nil
}

// findCompiler sets the compiler, and returns what it says about its version.
func (w *workshop) findCompiler() (string, error) {
	for _, name := range []string{os.Getenv("CXX"), "c++", "g++", "clang++"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		said, err := exec.Command(path, "--version").Output()
		if err != nil {
			return "", fmt.Errorf("%s --version: %w", path, err)
		}
		w.compiler = path
		return string(said), nil
	}
	return "", errNoCompiler
}

// lock keeps other processes out until the function that it returns is called.
func (w workshop) lock() (func(), error) {
	file, err := os.OpenFile(filepath.Join(w.folder, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", file.Name(), err), file.Close())
	}
	return func() { file.Close() }, nil
}

// build returns the path of a library, which it compiles if it is not there.
func (w workshop) build(name string, arguments ...string) (string, error) {
	unlock, err := w.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	path := filepath.Join(w.folder, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	arguments = append([]string{
		"-std=c++17", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread", "-o", path + ".new",
		"-DEMULATED_BUILD=0x" + w.hash + "ull", fmt.Sprintf("-DEMULATED_COMPILER=%q", w.compiler),
	}, append(arguments, "-ldl")...)
	command := exec.Command(w.compiler, arguments...)
	command.Dir = w.folder
	if said, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", command, err, said)
	}
	return path, os.Rename(path+".new", path)
}

// dropOld removes what has not been used, or was compiled, more than a week ago. A workshop changes with each use.
func dropOld(folder string) {
	workshops, _ := filepath.Glob(filepath.Join(folder, "*", "modules"))
	modules, _ := filepath.Glob(filepath.Join(folder, "*", "modules", "*"))
	for i := range workshops {
		workshops[i] = filepath.Dir(workshops[i])
	}
	for _, path := range append(workshops, modules...) {
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > 7*24*time.Hour {
			_ = os.RemoveAll(path)
		}
	}
}

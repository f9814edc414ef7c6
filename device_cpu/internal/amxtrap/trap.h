//go:build amxtrap

#include <stdbool.h>
#include <stdint.h>

// trap_install handles SIGILL for all threads. It returns false with errno set.
bool trap_install(void);

// trap_run calls machine code.
void trap_run(const void *code, void *first, void *second, uint64_t third);

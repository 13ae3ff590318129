// io_uring does system calls that no seccomp filter sees, and has been the way out of many a container.

#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>

#include "denied.h"

int main(void) {
    char params[120] = {0};  // struct io_uring_params
    long ring = syscall(SYS_io_uring_setup, 4, params);
    denied("io_uring_setup", ring);
    errno = 0;
    long entered = syscall(SYS_io_uring_enter, ring, 0, 0, 0, NULL, 0);
    denied("io_uring_enter", entered);
    denied("io_uring_register", syscall(SYS_io_uring_register, ring, 5, NULL, 0));
    return verdict();
}

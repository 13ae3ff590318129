// A user namespace of one's own makes everybody root in it, and most of the kernel reachable.

#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "denied.h"

static long clone_old(unsigned long flags) {
    long child = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(0);
    return child;
}

static long clone_new(unsigned long flags) {
    struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD};
    long child = syscall(SYS_clone3, &args, sizeof args);
    if (child == 0) _exit(0);
    return child;
}

int main(void) {
    denied("unshare user", unshare(CLONE_NEWUSER));
    denied("unshare user, mount, net", unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET));
    denied("unshare mount", unshare(CLONE_NEWNS));
    denied("clone user", clone_old(CLONE_NEWUSER));
    denied("clone3 user", clone_new(CLONE_NEWUSER));
    denied("setns", setns(open("/proc/1/ns/mnt", O_RDONLY), 0));
    denied("setuid 0", setuid(0));
    denied("setgid 0", setgid(0));
    return verdict();
}

// The box's init runs as the same user as the program, so it may be traced, and here it dies by that. That is
// the end of the box and of all that is in it. Where the kernel forbids it (Yama), it ends the same way.

#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <unistd.h>

int main(void) {
    if (getppid() != 1) return 1;  // no box: somebody's own machine
    if (fork() == 0) {
        setsid();
        for (;;) pause();
    }
    long is_refused = ptrace(PTRACE_SEIZE, 1, 0, PTRACE_O_EXITKILL);
    puts(is_refused ? "init is out of reach" : "init goes where I go");
    fflush(stdout);
    if (is_refused) raise(SIGKILL);
    return 0;
}

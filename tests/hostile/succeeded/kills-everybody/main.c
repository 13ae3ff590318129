// SIGKILL to everything that it may signal.

#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

int main(void) {
    if (getuid() != 65534) return 1;  // no box: somebody's own machine
    for (int i = 0; i < 20; i++)
        if (fork() == 0) pause();
    kill(1, SIGKILL);
    kill(-1, SIGKILL);
    puts("still there");
    return 0;
}

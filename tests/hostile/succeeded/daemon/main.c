// Daemons that want to outlive their run: another session, another group, no parent, deaf to signals, one with
// the output still open, one with nothing open and an environment that says nothing.

#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void sleep_for_ever(void) {
    for (int number = 1; number < NSIG; number++) signal(number, SIG_IGN);
    for (;;) pause();
}

static void daemonize(void) {
    setsid();
    if (fork() != 0) _exit(0);
    setpgid(0, 0);
    if (chdir("/") != 0) _exit(1);
}

int main(int count, char **words) {
    if (count > 1 && strcmp(words[1], "daemon") == 0) sleep_for_ever();
    char self[4096] = {0};
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) return 1;
    puts("leaving two behind");
    fflush(stdout);
    if (fork() == 0) {
        daemonize();
        sleep_for_ever();
    }
    if (fork() == 0) {
        daemonize();
        for (int fd = 0; fd < 3; fd++) close(fd);
        execve(self, (char *[]){self, "daemon", NULL}, (char *[]){NULL});
        _exit(1);
    }
    usleep(200000);  // until they are there
    return 0;
}

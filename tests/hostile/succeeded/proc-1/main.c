// Process 1 is the box's own init: what it shows is nothing but the box itself.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "denied.h"

static char text[1 << 16];

static const char *file(const char *path) {
    int fd = open(path, O_RDONLY);
    ssize_t size = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    for (ssize_t i = 0; i < size; i++)
        if (text[i] == 0) text[i] = '\n';
    text[size < 0 ? 0 : size] = 0;
    return text;
}

static void absent(const char *what, const char *path, const char *word) {
    errno = ENOENT;
    denied(what, strstr(file(path), word) != NULL ? 0 : -1);
}

static void same_root(void) {
    struct stat own, theirs;
    int is_other = stat("/", &own) == 0 && stat("/proc/1/root", &theirs) == 0 &&
                   (own.st_dev != theirs.st_dev || own.st_ino != theirs.st_ino);
    errno = ENOENT;
    denied("another root behind process 1", is_other ? 0 : -1);
}

int main(void) {
    absent("the service's settings", "/proc/1/environ", "HERMES_DATA");
    absent("the engine's address", "/proc/1/environ", "DOCKER_HOST");
    absent("the machine's init", "/proc/1/cmdline", "systemd");
    absent("the engine", "/proc/1/cmdline", "dockerd");
    same_root();
    int is_many = 0;
    for (int pid = 2; pid < 1 << 15; pid++) {
        char path[32];
        snprintf(path, sizeof path, "/proc/%d", pid);
        is_many += pid != getpid() && access(path, F_OK) == 0;
    }
    errno = ESRCH;
    denied("processes of others", is_many ? is_many : -1);
    denied("kernel's memory map", *file("/proc/timer_list") ? 0 : -1);
    denied("kernel's keys", *file("/proc/keys") ? 0 : -1);
    denied("firmware", open("/sys/firmware/dmi/tables/DMI", O_RDONLY));
    return verdict();
}

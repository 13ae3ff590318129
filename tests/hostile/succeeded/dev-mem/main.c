// The memory, disks and settings of the machine, under every name that they have.

#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "denied.h"

// What lies there, and the same made here.
static void device(const char *path, mode_t kind, int major_number, int minor_number) {
    denied(path, open(path, O_RDONLY));
    int is_made = mknod("device", kind | 0666, makedev(major_number, minor_number)) == 0;
    denied("  made by mknod", is_made ? open("device", O_RDONLY) : -1);
    unlink("device");
}

int main(void) {
    device("/dev/mem", S_IFCHR, 1, 1);
    device("/dev/port", S_IFCHR, 1, 4);
    device("/dev/kmsg", S_IFCHR, 1, 11);
    device("/dev/kvm", S_IFCHR, 10, 232);
    device("/dev/fuse", S_IFCHR, 10, 229);
    device("/dev/loop-control", S_IFCHR, 10, 237);
    device("/dev/loop0", S_IFBLK, 7, 0);
    device("/dev/sda", S_IFBLK, 8, 0);
    device("/dev/vda", S_IFBLK, 254, 0);
    device("/dev/nvme0n1", S_IFBLK, 259, 0);
    static const char *const settings[] = {
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/vm/drop_caches",
        "/proc/sysrq-trigger",
        "/sys/kernel/uevent_helper",
        "/sys/power/state",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory.max",
    };
    for (unsigned i = 0; i < sizeof settings / sizeof *settings; i++)
        denied(settings[i], open(settings[i], O_WRONLY));
    char byte;
    int kcore = open("/proc/kcore", O_RDONLY);
    if (kcore >= 0) errno = EACCES;  // an empty file lies over it: nothing is read
    denied("/proc/kcore", kcore < 0 ? -1 : read(kcore, &byte, 1) - 1);
    return verdict();
}

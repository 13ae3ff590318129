// GPUs that were not given to this run: their device files, and the ones that it could make itself.

#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "denied.h"

enum { NVIDIA_MAJOR = 195, NVIDIA_CTL = 255, DRM_MAJOR = 226, RENDER_0 = 128 };

static void made(const char *what, int major_number, int minor_number) {
    int is_made = mknod("gpu", S_IFCHR | 0666, makedev(major_number, minor_number)) == 0;
    denied(what, is_made ? open("gpu", O_RDWR) : -1);
    unlink("gpu");
}

int main(void) {
    char path[64];
    for (int i = 0; i < 16; i++) {
        snprintf(path, sizeof path, "/dev/nvidia%d", i);
        denied(path, open(path, O_RDWR));
    }
    denied("/dev/nvidiactl", open("/dev/nvidiactl", O_RDWR));
    denied("/dev/nvidia-uvm", open("/dev/nvidia-uvm", O_RDWR));
    denied("/dev/nvidia-modeset", open("/dev/nvidia-modeset", O_RDWR));
    denied("/dev/dri", open("/dev/dri", O_RDONLY | O_DIRECTORY));
    made("mknod nvidia0", NVIDIA_MAJOR, 0);
    made("mknod nvidiactl", NVIDIA_MAJOR, NVIDIA_CTL);
    made("mknod renderD128", DRM_MAJOR, RENDER_0);
    const char *seen = getenv("NVIDIA_VISIBLE_DEVICES");
    if (seen == NULL || strcmp(seen, "void") != 0) granted++;
    return verdict();
}

// For programs that try what a box must refuse: they exit with 0 only when nothing was granted.
// The test puts this file beside each program of tests/hostile.

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int granted;

// The result of a call as the kernel gives it, -1 with errno. A complaint about the arguments is no refusal:
// somebody with better ones would have been served.
static void denied(const char *what, long result) {
    int is_refused = result < 0 && errno != EINVAL && errno != EFAULT && errno != EBADF;
    printf("%s: %s\n", what, result < 0 ? strerror(errno) : "granted");
    if (!is_refused) granted++;
}

static int verdict(void) {
    printf("%d granted\n", granted);
    return granted != 0;
}

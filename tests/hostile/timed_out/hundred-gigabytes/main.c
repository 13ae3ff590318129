// Wants to print a hundred gigabytes, as fast as they are taken: a gigabyte a second, if it may.

#include <string.h>
#include <unistd.h>

static char block[1 << 20];

int main(void) {
    memset(block, 'x', sizeof block);
    for (unsigned i = 99; i < sizeof block; i += 100) block[i] = '\n';
    for (long written = 0; written < 100L << 30;) {
        ssize_t now = write(1, block, sizeof block);
        if (now > 0) written += now;
    }
    return 0;
}

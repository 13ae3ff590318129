// One line, a hundred times longer than what is kept of a log, and a word behind it.

#include <string.h>
#include <unistd.h>

static char block[1 << 20];

int main(void) {
    memset(block, 'x', sizeof block);
    for (long left = LINE_BYTES; left > 0;) {
        ssize_t now = write(1, block, left < (long)sizeof block ? (size_t)left : sizeof block);
        if (now < 0) return 1;
        left -= now;
    }
    return write(1, "\nthe end\n", 9) != 9;
}

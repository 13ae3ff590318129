// More than is kept of a log, in writes of seven bytes: small pieces must not cost a thousand times their size.

#include <unistd.h>

int main(void) {
    for (int i = 0; i < 200000; i++)
        if (write(1, "crumbs\n", 7) < 0) return 1;
    return write(2, "the end\n", 8) != 8;
}

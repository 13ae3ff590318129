#include <stdio.h>

#include "greeting.h"

int main(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) greet(stdout, argv[i]);
    return argc < 2;
}

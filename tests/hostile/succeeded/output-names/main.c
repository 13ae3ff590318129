// Names that a page, a header, a shell or a path would trip over.

#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void put(const char *name) {
    FILE *file = fopen(name, "w");
    if (file == NULL) exit(2);
    fputs("kept\n", file);
    fclose(file);
}

int main(void) {
    if (chdir(getenv("HERMES_OUTPUT_DIR")) != 0) return 1;
    put("new\nline");
    put("return\r\nSet-Cookie: a=b");
    put("..hidden");
    put("...");
    put("..%2f..%2fetc");
    put("-rf");
    put("quote\"<script>'&");
    put("\033[2Jescape");
    put("\xff\xfe not utf-8");
    put("\xe2\x80\xae" "gnp.exe");
    put("\\back\\slash");
    put(" ");
    mkdir("a", 0755);
    mkdir("a/..b", 0755);
    put("a/..b/../..b/c");
    char longest[256];
    memset(longest, 'x', 255);
    longest[255] = 0;
    put(longest);
    return rename("a", "..") == 0 || link("-rf", "a/..") == 0;
}

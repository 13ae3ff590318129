#include "greeting.h"

void greet(FILE* to, const char* whom) { fprintf(to, "hello, %s\n", whom); }

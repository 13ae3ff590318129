#pragma once
#include <stdio.h>

void greet(FILE* to, const char* whom);

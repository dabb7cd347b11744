/* The demo's model. RELEASE and BIAS are set by the compiler's command line and the weight by the data directory, so that a
 * score tells which code and which data a service really runs. LOAD_SECONDS is how long it takes to load its data. */
#include <stdio.h>
#include <unistd.h>

#ifndef LOAD_SECONDS
#define LOAD_SECONDS 0
#endif

static double weight;

const char *model_release(void)
{
    return RELEASE;
}

int model_load(const char *directory)
{
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/weight.txt", directory);
    if (length < 0 || (size_t)length >= sizeof path)
        return -1;
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return -1;
    sleep(LOAD_SECONDS);
    int values = fscanf(file, "%lf", &weight);
    fclose(file);
    return values == 1 ? 0 : -1;
}

double model_score(double x)
{
    return weight * x + BIAS;
}

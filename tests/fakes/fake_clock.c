/* A node whose clock is wrong: what clock_gettime says of the time of day is off by KFAB_FAKE_CLOCK_S seconds. To be preloaded. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec* out) {
  static int (*real)(clockid_t, struct timespec*);
  if (!real) real = (int (*)(clockid_t, struct timespec*))dlsym(RTLD_NEXT, "clock_gettime");
  const int status = real(clock, out);
  const char* off = getenv("KFAB_FAKE_CLOCK_S");
  if (status == 0 && clock == CLOCK_REALTIME && off) out->tv_sec += atol(off);
  return status;
}

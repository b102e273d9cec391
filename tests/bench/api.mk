# SPDX-License-Identifier: Apache-2.0
# The benchmark of the API: docs/bench/api.md says what it measures.

$(B)/bench/api: $(call objects,tests/bench/api.c $(TEST_LIB_SRC))
	@mkdir -p $(@D)
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^

ifeq ($(ARCH),$(HOST_ARCH))
BENCH_API = echo "One CPU for everybody:"; taskset -c 0 $(B)/bench/api $(B)/squib; \
	echo; echo "All CPUs:"; $(B)/bench/api $(B)/squib
else
BENCH_API = echo "On an emulated machine, whose times mean nothing:"; \
	tools/dev/nest -a $(ARCH) -t 300 -- $(B)/bench/api -n 200 -s 5 $(B)/squib
endif

.PHONY: bench-api
bench-api: all $(B)/bench/api ## measure the API's latency, start and memory; writes build/bench/api.txt
	@mkdir -p build/bench
	@{ $(BENCH_API); } | tee build/bench/api.txt

# SPDX-License-Identifier: Apache-2.0
# The benchmark of the API: docs/benchmarks-api.md says what it measures.

$(B)/bench/api: $(call objects,tests/bench/api.c)
	@mkdir -p $(@D)
	@echo "  LD      $@"
	@$(CC) $(RELEASE_LDFLAGS) $(LDFLAGS) -o $@ $^

.PHONY: bench-api
bench-api: all $(B)/bench/api ## measure the API's latency, start and memory; writes build/bench/api.txt
	@mkdir -p build/bench
	@{ echo "One CPU for everybody:"; taskset -c 0 $(B)/bench/api $(B)/squib; \
		echo; echo "All CPUs:"; $(B)/bench/api $(B)/squib; } | tee build/bench/api.txt

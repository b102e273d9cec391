/* SPDX-License-Identifier: Apache-2.0 */
/* An interpreter of classic BPF [linux Documentation/networking/filter.rst]. */
#include "seccomp/bpf.h"

#include <string.h>

/* Jumps only go forward, so every program ends. */
static bool jump(const struct sock_filter *at, uint32_t a, size_t *skip)
{
	bool is_true;

	switch (BPF_OP(at->code)) {
	case BPF_JA:
		*skip = at->k;
		return true;
	case BPF_JEQ:
		is_true = a == at->k;
		break;
	case BPF_JGT:
		is_true = a > at->k;
		break;
	case BPF_JGE:
		is_true = a >= at->k;
		break;
	case BPF_JSET:
		is_true = (a & at->k) != 0;
		break;
	default:
		return false;
	}
	*skip = is_true ? at->jt : at->jf;
	return BPF_SRC(at->code) == BPF_K;
}

bool bpf_run(const struct sock_filter *code, size_t count, const struct seccomp_data *call,
	     uint32_t *result)
{
	uint32_t a = 0;

	for (size_t i = 0; i < count; i++) {
		const struct sock_filter *at = &code[i];
		size_t skip;

		switch (at->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			if (at->k > sizeof(*call) - sizeof(a) || at->k % sizeof(a) != 0) {
				return false;
			}
			memcpy(&a, (const char *)call + at->k, sizeof(a));
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= at->k;
			break;
		case BPF_RET | BPF_K:
			*result = at->k;
			return true;
		default:
			if (BPF_CLASS(at->code) != BPF_JMP || !jump(at, a, &skip) ||
			    skip >= count - i) {
				return false;
			}
			i += skip;
		}
	}
	return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control queue of a network device with several queue pairs [virtio-1.2 §5.1.6.5].
 *
 * Theory of operation. A driver starts with one pair, and says here how many it uses. That is a
 * number of the device's alone: the TAP's queues stay open all the time, and the kernel spreads
 * frames over all of them. So a pair that is in use also reads the queues of pairs that are not
 * (net_receive.c), and no frame of the host is lost to a driver that uses few of them. A command
 * costs the host no system call but the notifications of queues.
 */
#include "devices/virtio/net/net_internal.h"

#include "vmm/base/bytes.h"

/* A command is its class, its number and its data; the answer is a byte. */
enum {
	CLASS_MQ = 4,
	MQ_PAIRS_SET = 0,
	COMMAND_LEN = 4, /* of the only one: its data is a number of pairs, 16 bits */
	ANSWER_OK = 0,
	ANSWER_ERR = 1,
};

bool net_control_is_queue(const struct net *net, unsigned index)
{
	/* Behind all pairs, or behind the first for a driver that knows of no other. */
	unsigned pairs = virtio_has(&net->dev, NET_F_MQ) ? net->pair_count : 1;

	return virtio_has(&net->dev, NET_F_CTRL_VQ) && index == pairs * QUEUES;
}

static void set_pairs(struct net *net, unsigned count)
{
	if (count == net->pairs_in_use) {
		return;
	}
	/* What a pair holds for a frame belongs to its own queue. */
	for (unsigned i = 0; i < net->pairs_in_use; i++) {
		net_receive_quiesce(&net->pairs[i]);
	}
	net_use_pairs(net, count);
	for (unsigned i = 0; i < net->dev.queue_count; i++) {
		virtio_kick(&net->dev, i);
	}
}

static bool run(struct net *net, const struct virtq_chain *chain)
{
	uint8_t command[COMMAND_LEN];

	if (chain->read_len != COMMAND_LEN ||
	    virtq_chain_read(net->dev.mem, chain, 0, command, sizeof(command)) < 0 ||
	    command[0] != CLASS_MQ || command[1] != MQ_PAIRS_SET ||
	    !virtio_has(&net->dev, NET_F_MQ)) {
		return false;
	}
	unsigned count = load_le16(command + 2);

	if (count == 0 || count > net->pair_count) {
		return false;
	}
	set_pairs(net, count);
	return true;
}

enum virtio_step net_control_take(struct net *net, unsigned index, const struct virtq_chain *chain)
{
	/* One without room for its answer is not carried out. */
	bool is_done = chain->write_len > 0 && run(net, chain);
	uint8_t answer = is_done ? ANSWER_OK : ANSWER_ERR;
	uint32_t written = (uint32_t)min_u64(chain->write_len, sizeof(answer));

	if (!is_done) {
		metric_add(&net->metrics.cfg_fails, 1);
		log_guest_warn("Interface %s: the guest's driver has sent a command that the "
			       "device does not have: refused",
			       net->dev.id);
	}
	/* It was RAM when the chain was checked, and RAM doesn't go away. */
	(void)!virtq_chain_write(net->dev.mem, chain, 0, &answer, written);
	virtq_push(net_queue(net, index), chain->head, written);
	return VIRTIO_DONE;
}

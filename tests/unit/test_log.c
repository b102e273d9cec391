/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/log.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"

#define TIME_RE "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{9}"

static void expect_match(const char *text, const char *pattern)
{
	regex_t regex;

	cr_assert(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) == 0);
	cr_expect(regexec(&regex, text, 0, NULL, 0) == 0, "%s\nis not\n%s", text, pattern);
	regfree(&regex);
}

static void configure(const struct log_config *config)
{
	struct error err = {0};

	cr_assert(log_configure(config, &err) == 0, "%s", err.msg);
}

Test(log, lines_have_the_known_form)
{
	static const struct {
		enum log_switch level;
		enum log_switch origin;
		const char *pattern;
	} cases[] = {
		{LOG_HIDE, LOG_HIDE, TIME_RE " \\[vm-1:fc_vcpu 0\\] hello 5\n$"},
		{LOG_SHOW, LOG_HIDE, TIME_RE " \\[vm-1:fc_vcpu 0:WARN\\] hello 5\n$"},
		{LOG_HIDE, LOG_SHOW,
		 TIME_RE " \\[vm-1:fc_vcpu 0:tests/[a-z_/]+\\.c:[0-9]+\\] hello"},
		{LOG_SHOW, LOG_SHOW,
		 TIME_RE " \\[vm-1:fc_vcpu 0:WARN:tests/[a-z_/]+\\.c:[0-9]+\\] "},
		{LOG_KEEP, LOG_KEEP,
		 TIME_RE " \\[vm-1:fc_vcpu 0:WARN:tests/[a-z_/]+\\.c:[0-9]+\\] "},
	};

	log_set_instance("vm-1");
	log_set_thread("fc_vcpu 0");
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		int fd = capture_log(LOG_INFO);

		if (i == 4) {
			/* capture_log has a will of its own about the switches. */
			configure(&(struct log_config){.level = LOG_INFO, .show_origin = LOG_SHOW});
		} else {
			configure(&(struct log_config){.level = LOG_INFO,
						       .show_level = cases[i].level,
						       .show_origin = cases[i].origin});
		}
		log_warn("hello %d", 5);
		expect_match(captured(fd), cases[i].pattern);
		close(fd);
	}
}

/* A fresh line tells a time between the clock before it and the clock after it. */
static bool is_local_time(int log)
{
	char want[2][32];

	for (size_t i = 0; i < ARRAY_COUNT(want); i++) {
		struct timespec now;

		/* Not time(2): it lags behind this clock, by which lines go, by up to a tick. */
		clock_gettime(CLOCK_REALTIME, &now);
		strftime(want[i], sizeof(want[i]), "%Y-%m-%dT%H:%M:%S", localtime(&now.tv_sec));
		if (i == 0) {
			log_info("x");
		}
	}
	/* Such times order as their texts do. */
	return strncmp(want[0], captured(log), 19) <= 0 && strncmp(captured(log), want[1], 19) <= 0;
}

Test(log, the_time_is_local)
{
	static const char *const zones[] = {"UTC0", "XXX-5:30", "XXX+11", "XXX-14"};

	for (size_t i = 0; i < ARRAY_COUNT(zones); i++) {
		pid_t child = fork();

		if (child == 0) {
			int log = capture_log(LOG_INFO);

			setenv("TZ", zones[i], 1);
			tzset();
			_exit(is_local_time(log) ? 0 : 1);
		}
		int status;

		waitpid(child, &status, 0);
		cr_expect(status == 0, "%s: %#x", zones[i], status);
	}
}

Test(log, levels_filter)
{
	static const char *const words[] = {"", "error", "warn", "info", "debug"};

	for (enum log_level level = LOG_OFF; level <= LOG_TRACE; level++) {
		int fd = capture_log(level);

		log_error("said error");
		log_warn("said warn");
		log_info("said info");
		log_debug("said debug");
		cr_expect(count_of(captured(fd), "said") == min_u64(level, 4), "level %d", level);
		for (unsigned i = 1; i <= level && i < ARRAY_COUNT(words); i++) {
			cr_expect(strstr(captured(fd), words[i]) != NULL);
		}
		close(fd);
	}
}

Test(log, modules_filter_by_prefix)
{
	static const struct {
		const char *module;
		bool is_logged;
	} cases[] = {
		{"", true},	 {"tests/unit", true}, {"tests/unit/test_log.c", true},
		{"unit", false}, {"vmm", false},       {"tests/unit/test_log.cc", false},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		int fd = capture_log(LOG_INFO);

		configure(&(struct log_config){.level = LOG_INFO, .module = cases[i].module});
		/* NULL keeps it. */
		configure(&(struct log_config){.level = LOG_INFO});
		log_info("said");
		cr_expect(count_of(captured(fd), "said") == cases[i].is_logged, "%s",
			  cases[i].module);
		close(fd);
	}
}

Test(log, level_names_are_parsed)
{
	static const struct {
		const char *text;
		int level; /* -1: none */
	} cases[] = {
		{"Error", LOG_ERROR}, {"WARNING", LOG_WARN}, {"warn", LOG_WARN}, {"info", LOG_INFO},
		{"Debug", LOG_DEBUG}, {"trace", LOG_TRACE},  {"Off", LOG_OFF},	 {"", -1},
		{"infox", -1},	      {"inf", -1},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		enum log_level level = LOG_OFF;

		cr_expect(log_level_parse(cases[i].text, &level) == (cases[i].level >= 0), "%s",
			  cases[i].text);
		cr_expect(cases[i].level < 0 || (int)level == cases[i].level);
	}
}

Test(log, long_lines_are_cut_and_end)
{
	int fd = capture_log(LOG_INFO);
	char text[5000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_info("%s", text);
	log_info("next");
	const char *end = strchr(captured(fd), '\n');

	cr_assert(end != NULL && end - captured(fd) == 2046 && end[-1] == 'x');
	cr_assert(strstr(end, "next") != NULL);
}

/* Enough lines for the limit's edges; returns how many times the site was passed. */
static void storm(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		log_guest_warn("bang");
	}
}

Test(log, a_guest_can_trigger_10_lines_at_once_and_learns_to_wait)
{
	int fd = capture_log(LOG_INFO);

	storm(500);
	cr_assert(count_of(captured(fd), "bang") == 10, "%u", count_of(captured(fd), "bang"));
	cr_assert(strstr(captured(fd), "dropped") == NULL);
	/* A token comes back every 500 ms. */
	usleep(550000);
	storm(5);
	cr_assert(count_of(captured(fd), "bang") == 11);
	cr_assert(count_of(captured(fd), "490 messages were dropped here by the rate limit") == 1);
	/* Other sites have a limit of their own. */
	log_guest_warn("boom");
	cr_assert(count_of(captured(fd), "boom") == 1);
}

/* --- one site, several threads --- */

enum {
	STORM_THREADS = 4,
	STORM_LINES = 20, /* of each */
	STORM_ROUNDS = 3000,
	BURST = 10,
};

static struct {
	struct log_limit limit;
	pthread_barrier_t start;
} site;

static void *storm_site(void *arg)
{
	(void)arg;
	pthread_barrier_wait(&site.start);
	for (unsigned i = 0; i < STORM_LINES; i++) {
		log_write_limited(&site.limit, LOG_WARN, __FILE__, __LINE__, "bang");
	}
	return NULL;
}

/* The sum of what "N messages were dropped" says. */
static unsigned told_of(const char *text)
{
	unsigned sum = 0;

	for (const char *at = text; (at = strstr(at, "] ")) != NULL; at += 2) {
		char *end;
		unsigned long count = strtoul(at + 2, &end, 10);

		if (strncmp(end, " messages were dropped", 22) == 0) {
			sum += (unsigned)count;
		}
	}
	return sum;
}

/* tests/models/log_limit.pml, on the code itself. */
static void storm_by_threads(void)
{
	pthread_t threads[STORM_THREADS];
	uint64_t begin_ns = clock_host.now_ns(CLOCK_MONOTONIC);
	int fd = capture_log(LOG_INFO);

	site.limit = (struct log_limit){0};
	for (size_t i = 0; i < STORM_THREADS; i++) {
		pthread_create(&threads[i], NULL, storm_site, NULL);
	}
	for (size_t i = 0; i < STORM_THREADS; i++) {
		pthread_join(threads[i], NULL);
	}
	uint64_t tokens = (clock_host.now_ns(CLOCK_MONOTONIC) - begin_ns) / 500000000;
	unsigned lines = count_of(captured(fd), "bang");
	unsigned told = told_of(captured(fd));

	cr_assert(lines >= BURST && lines <= BURST + tokens, "%u lines", lines);
	cr_assert(lines + told + site.limit.dropped == STORM_THREADS * STORM_LINES,
		  "%u lines, %u told, %u to be told", lines, told, site.limit.dropped);
	close(fd);
}

Test(log, threads_at_one_site_share_its_limit_and_lose_no_count, .timeout = 60)
{
	pthread_barrier_init(&site.start, NULL, STORM_THREADS);
	for (unsigned i = 0; i < STORM_ROUNDS; i++) {
		storm_by_threads();
	}
	pthread_barrier_destroy(&site.start);
}

Test(log, logging_keeps_errno)
{
	capture_log(LOG_INFO);
	configure(&(struct log_config){.path = "/dev/full", .level = LOG_INFO});
	errno = EXDEV;
	log_info("x");
	cr_assert(errno == EXDEV);
	log_guest_warn("x");
	cr_assert(errno == EXDEV);
	cr_assert(log_missed() == 2);
}

Test(log, a_fifo_that_nobody_reads_costs_lines_and_no_time, .timeout = 5)
{
	char dir[] = "/tmp/test_log_XXXXXX";
	char path[64];

	cr_assert(mkdtemp(dir) != NULL);
	snprintf(path, sizeof(path), "%s/fifo", dir);
	cr_assert(mkfifo(path, 0600) == 0);
	configure(&(struct log_config){.path = path, .level = LOG_INFO});
	for (int i = 0; i < 3000; i++) {
		log_info("said %d", i);
	}
	cr_assert(log_missed() > 0 && log_missed() < 3000);
	unlink(path);
	rmdir(dir);
}

Test(log, a_slow_reader_of_standard_output_costs_lines_and_no_time, .timeout = 5)
{
	int ends[2];

	cr_assert(pipe(ends) == 0);
	dup2(ends[1], STDOUT_FILENO);
	for (int i = 0; i < 3000; i++) {
		log_info("said %d", i);
	}
	cr_assert(log_missed() > 0 && log_missed() < 3000);
	/* Without any reader SIGPIPE would end us here. */
	close(ends[0]);
	log_info("x");
}

Test(log, a_sink_that_cannot_be_opened_changes_nothing)
{
	int fd = capture_log(LOG_INFO);
	struct log_config config = {.path = "/no/such/dir/log", .level = LOG_OFF};
	struct error err = {0};

	cr_assert(log_configure(&config, &err) == -1);
	cr_assert_str_eq(err.msg, "Failed to open target file: No such file or directory (os "
				  "error 2)");
	log_info("said");
	cr_assert(count_of(captured(fd), "said") == 1);
}

static _Atomic bool is_over;

static void *log_without_end(void *arg)
{
	(void)arg;
	while (!is_over) {
		log_info("said");
	}
	return NULL;
}

/* A thread that has read the descriptor's number must not write to a file opened since. */
Test(log, a_change_of_sink_never_hits_another_file)
{
	capture_log(LOG_INFO);
	pthread_t thread;

	pthread_create(&thread, NULL, log_without_end, NULL);
	for (int i = 0; i < 300; i++) {
		int sink = capture_log(LOG_INFO);
		int victim = file_of("", 0);

		usleep(100);
		cr_expect(captured(victim)[0] == '\0', "round %d: %s", i, captured(victim));
		close(victim);
		close(sink);
	}
	is_over = true;
	pthread_join(thread, NULL);
}

static void log_in_handler(int signo)
{
	(void)signo;
	log_enter_handler();
	log_error("in the handler");
	log_leave_handler();
}

/* The lock inside localtime_r is taken almost all of the time here. */
static void interrupt_the_calendar(void)
{
	struct sigaction action = {.sa_handler = log_in_handler, .sa_flags = (int)SA_RESTART};
	struct itimerval often = {.it_interval = {.tv_usec = 200}, .it_value = {.tv_usec = 200}};
	time_t end = time(NULL) + 2;

	/* Ends a deadlock. */
	alarm(8);
	log_info("first");
	sigaction(SIGVTALRM, &action, NULL);
	setitimer(ITIMER_VIRTUAL, &often, NULL);
	for (time_t now = time(NULL); now < end; now = time(NULL)) {
		struct tm tm;

		for (int i = 0; i < 20000; i++) {
			localtime_r(&now, &tm);
		}
		log_info("between");
	}
	_exit(log_missed() == 0 ? 0 : 1);
}

Test(log, a_handler_can_log_whatever_it_interrupts, .timeout = 15)
{
	int fd = capture_log(LOG_INFO);
	pid_t child = fork();
	int status = 0;

	if (child == 0) {
		interrupt_the_calendar();
	}
	waitpid(child, &status, 0);
	cr_assert(status == 0, "%#x", status);
	cr_assert(count_of(captured(fd), "in the handler") > 0);
}

// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Progress on stderr: a bar, lines of JSON, or nothing. A look at the clock is
 * all that a step costs most of the time.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "err.h"
#include "out.h"
#include "progress.h"

#define PAUSE_NS	200000000ULL	/* between two lines; nothing for shorter work */
#define BAR		40

enum form { NONE, TERMINAL, JSON };

static enum form form;
static const char *subject, *phase;
static u64 last;
static bool shown;
static sig_atomic_t is_interrupted;
static unsigned int depth;
static bool is_complete;
static struct sigaction old_actions[3];
static const int signals[3] = { SIGINT, SIGTERM, SIGHUP };

static u64 now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void interrupt(int signal)
{
	__atomic_store_n(&is_interrupted, signal, __ATOMIC_RELAXED);
}

void progress_start(const char *wanted, const char *about)
{
	struct sigaction action = { .sa_handler = interrupt, .sa_flags = SA_RESTART };
	int i;

	if (depth++)
		return;
	is_complete = false;
	form = isatty(STDERR_FILENO) && !err_is_quiet ? TERMINAL : NONE;
	if (wanted && !strcmp(wanted, "json"))
		form = JSON;
	else if (wanted && !strcmp(wanted, "none"))
		form = NONE;
	subject = about;
	phase = "reading";
	last = now();
	shown = false;
	for (i = 0; i < 3; i++)
		sigaction(signals[i], &action, &old_actions[i]);
}

void progress_phase(const char *step)
{
	phase = step;
}

static void show(u64 done, u64 total)
{
	u64 percent = total ? done * 100.0 / total : 100;
	char bar[BAR + 1], line[128];

	shown = true;
	if (form == JSON) {
		snprintf(line, sizeof(line), "{\"step\":\"%s\",\"done\":%llu,\"total\":%llu}\n", phase,
			 (unsigned long long)done, (unsigned long long)total);
		out_progress(line);
		return;
	}
	memset(bar, ' ', BAR);
	memset(bar, '=', percent * BAR / 100);
	bar[BAR] = 0;
	snprintf(line, sizeof(line), "\r%-10s [%s] %3llu %%", phase, bar, (unsigned long long)percent);
	out_progress(line);
}

void progress_clear(void)
{
	char line[BAR + 23];

	if (form == TERMINAL && shown) {
		snprintf(line, sizeof(line), "\r%*s\r", BAR + 20, "");
		out_progress(line);
	}
	shown = false;
}

int progress_step(u64 done, u64 total)
{
	int signal = __atomic_load_n(&is_interrupted, __ATOMIC_RELAXED);
	u64 time;

	if (signal) {
		progress_clear();
		return err_fail(ERR_FAILED, subject, "interrupted (%s)", sigabbrev_np(signal));
	}
	if (form == NONE)
		return 0;
	time = now();
	if (time - last >= PAUSE_NS) {
		last = time;
		show(done, total);
	}
	return 0;
}

void progress_commit(void)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	int i;

	for (i = 0; subject && i < 3; i++)
		sigaction(signals[i], &ignore, NULL);
	is_complete = true;
}

void progress_end(void)
{
	int i;

	if (!depth || --depth)
		return;
	if (form == JSON && is_complete)
		show(1, 1);
	progress_clear();
	for (i = 0; i < 3; i++)
		sigaction(signals[i], &old_actions[i], NULL);
	subject = NULL;
	is_interrupted = 0;
}

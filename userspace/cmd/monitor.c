// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * monitor: wait for events of devices, tell them, and run commands.
 *
 * One process for all devices. A device has one command at a time; what
 * happens to it meanwhile is seen when the command has ended.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../lib/dm.h"
#include "../lib/err.h"
#include "../lib/event.h"
#include "../lib/mem.h"
#include "cmd.h"

struct args {
	char **on;
};

static const struct cli_option options[] = {
	{ "on", 0, CLI_STRINGS, offsetof(struct args, on), "EVENT=COMMAND",
	  .help = "run COMMAND by the shell: low-water, full, ok, fail, corrupt" },
	{ }
};

/* A command that runs for a device. */
struct job {
	pid_t pid;
	char *name;
	enum event event;
};

struct monitor {
	const char *commands[EVENT_COUNT];
	char **names;		/* operands; none: all devices */
	struct event_watch *watch;
	struct job *jobs;
	size_t nr_jobs;
	int events, signals;
	sigset_t mask;		/* before ours, for the commands */
};

static int parse_handlers(struct monitor *monitor, char **on)
{
	enum event event;
	char *equal;

	for (; on && *on; on++) {
		equal = strchr(*on, '=');
		event = equal ? event_find(*on, equal - *on) : EVENT_COUNT;
		if (event == EVENT_COUNT)
			return err_usage("--on %s: not low-water, full, ok, fail or corrupt, and =COMMAND",
					 *on);
		if (monitor->commands[event])
			return err_usage("--on %s is given twice", event_names[event]);
		monitor->commands[event] = equal + 1;
	}
	return 0;
}

static bool is_wanted(const struct monitor *monitor, const char *name)
{
	char **wanted;

	for (wanted = monitor->names; *wanted; wanted++) {
		if (!strcmp(*wanted, name))
			return true;
	}
	return !*monitor->names;
}

static bool is_busy(const struct monitor *monitor, const char *name)
{
	size_t i;

	for (i = 0; i < monitor->nr_jobs; i++) {
		if (!strcmp(monitor->jobs[i].name, name))
			return true;
	}
	return false;
}

static void start(struct monitor *monitor, const struct device *device, enum event event)
{
	pid_t pid = fork();

	if (pid < 0) {
		err_warn(device->dm.name, "cannot run the command for %s: %s", event_names[event],
			 strerror(errno));
		return;
	}
	if (!pid) {
		char *image = device->image ? device_lasting_path(device->image) : "";

		sigprocmask(SIG_SETMASK, &monitor->mask, NULL);
		setenv("QCOW2_NAME", device->dm.name, 1);
		setenv("QCOW2_EVENT", event_names[event], 1);
		setenv("QCOW2_IMAGE", image, 1);
		execl("/bin/sh", "sh", "-c", monitor->commands[event], NULL);
		_exit(127);
	}
	monitor->jobs = mem_grow(monitor->jobs, monitor->nr_jobs, sizeof(*monitor->jobs));
	monitor->jobs[monitor->nr_jobs++] = (struct job){
		.pid = pid, .name = mem_strdup(device->dm.name), .event = event,
	};
}

/* Tell what begun, the worst last, and run the command of the worst that has one. */
static void report(struct monitor *monitor, const struct device *device, unsigned int begun)
{
	enum event event, run = EVENT_COUNT;

	for (event = 0; event < EVENT_COUNT; event++) {
		MEM_FREE char *line = NULL;

		if (!(begun & (1U << event)))
			continue;
		line = mem_printf("%s %s", device->dm.name, event_names[event]);
		out_line(line);
		if (monitor->commands[event])
			run = event;
	}
	if (run != EVENT_COUNT)
		start(monitor, device, run);
}

static int look(struct monitor *monitor)
{
	struct device *devices;
	unsigned int begun;
	size_t count, i;
	int ret;

	ret = device_list(&devices, &count);
	if (ret)
		return device_fail(ret, NULL);
	for (i = 0; i < count; i++) {
		if (!is_wanted(monitor, devices[i].dm.name) ||
		    is_busy(monitor, devices[i].dm.name))
			continue;
		begun = event_look(monitor->watch, &devices[i]);
		if (begun)
			report(monitor, &devices[i], begun);
	}
	device_release_list(devices, count);
	return out_close(0);
}

/* A layer may have come or gone since the event. */
static int send_retry(const char *name)
{
	MEM_FREE char *target = NULL;
	struct device device;
	int ret;

	ret = device_get(name, &device);
	if (ret)
		return ret;
	target = device_target_name(&device);
	device_release(&device);
	return dm_message(target, "retry");
}

/* A command that ended well has made space, if space was what it was called for. */
static void ended(const struct job *job, int status)
{
	int ret;

	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		err_warn(job->name, "the command for %s failed (%s %d)", event_names[job->event],
			 WIFEXITED(status) ? "exit" : "signal",
			 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
		return;
	}
	if (job->event != EVENT_LOW_WATER && job->event != EVENT_FULL)
		return;
	ret = send_retry(job->name);
	if (ret)
		err_warn(job->name, "cannot send retry: %s", strerror(-ret));
}

static void reap(struct monitor *monitor)
{
	size_t i = 0;
	int status;

	while (i < monitor->nr_jobs) {
		struct job *job = &monitor->jobs[i];

		if (waitpid(job->pid, &status, WNOHANG) != job->pid) {
			i++;
			continue;
		}
		ended(job, status);
		free(job->name);
		*job = monitor->jobs[--monitor->nr_jobs];
	}
}

/* Wait for an event, a command or a signal that ends us; true: go on. */
static bool wait_for_news(struct monitor *monitor)
{
	struct pollfd fds[] = {
		{ .fd = monitor->events, .events = POLLIN },
		{ .fd = monitor->signals, .events = POLLIN },
	};
	struct signalfd_siginfo info;

	if (poll(fds, 2, -1) < 0 || !(fds[1].revents & POLLIN))
		return true;
	if (read(monitor->signals, &info, sizeof(info)) != sizeof(info))
		return true;
	if (info.ssi_signo != SIGCHLD)
		return false;
	reap(monitor);
	return true;
}

static int watch_devices(struct monitor *monitor)
{
	int ret;

	do {
		ret = event_arm(monitor->events);
		if (ret)
			return err_errno(-ret, NULL);
		ret = look(monitor);
		if (ret)
			return ret;
	} while (wait_for_news(monitor));
	return 0;
}

static int open_signals(struct monitor *monitor)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &mask, &monitor->mask))
		return -errno;
	monitor->signals = signalfd(-1, &mask, SFD_CLOEXEC);
	return monitor->signals < 0 ? -errno : 0;
}

/* A name that is none now is a mistake; devices may go and come again later. */
static int check_names(char **names)
{
	struct device device;
	int ret;

	for (; *names; names++) {
		ret = device_get(*names, &device);
		if (ret)
			return device_fail(ret, *names);
		device_release(&device);
	}
	return 0;
}

static int run(void *data, char **operands)
{
	struct monitor monitor = { .names = operands, .signals = -1 };
	const struct args *args = data;
	size_t i;
	int ret;

	ret = parse_handlers(&monitor, args->on);
	if (!ret)
		ret = check_names(operands);
	if (ret)
		return ret;
	monitor.events = event_open();
	if (monitor.events < 0)
		return err_errno(-monitor.events, "/dev/mapper/control");
	ret = open_signals(&monitor);
	if (ret) {
		ret = err_errno(-ret, NULL);
	} else {
		monitor.watch = event_watch_new();
		ret = watch_devices(&monitor);
		event_watch_free(monitor.watch);
	}
	for (i = 0; i < monitor.nr_jobs; i++)
		free(monitor.jobs[i].name);
	free(monitor.jobs);
	close(monitor.events);
	if (monitor.signals >= 0)
		close(monitor.signals);
	return ret;
}

const struct cli_command cmd_monitor = {
	.name = "monitor",
	.action = "watch devices",
	.synopsis = "[NAME]...",
	.summary = "Wait for events of devices and run commands",
	.text = "A line \"NAME EVENT\" is printed for each. COMMAND finds QCOW2_NAME, QCOW2_EVENT and\n"
		"QCOW2_IMAGE in its environment. When it has made space (exit 0 after low-water or\n"
		"full), waiting writes are tried again. Ends by SIGINT or SIGTERM, with 0.\n",
	.options = options,
	.max_operands = 1000,
	.args_size = sizeof(struct args),
	.run = run,
};

/*
 * What pyxis does, for tests: Debian has neither pyxis nor enroot.
 *
 * A real SPANK plugin, so that the real srun takes pyxis' options, and refuses those that pyxis doesn't have
 * (https://github.com/NVIDIA/pyxis/wiki/Usage). Each task gets a mount namespace, which the program named in
 * plugstack.conf furnishes, and starts in its root with the variables of the image winning over its own.
 * Options that the launcher has no use for are refused aloud rather than ignored.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <slurm/spank.h>

SPANK_PLUGIN(pyxis_standin, 1)

enum { IMAGE, MOUNTS, WORKDIR, KEPT, NO_HOME, OTHER };
static char *given[KEPT];

static int take(int option, const char *value, int remote)
{
	if (option == OTHER) {
		slurm_error("pyxis stand-in: an option that it doesn't know what to do with");
		return -1;
	}
	if (option == NO_HOME)
		return 0;
	if (value == NULL || *value == '\0') {
		slurm_error("pyxis stand-in: an option without its argument");
		return -1;
	}
	/* Slurm may tell the same twice. */
	if (given[option] != NULL && strcmp(given[option], value) != 0) {
		slurm_error("pyxis stand-in: an option given twice");
		return -1;
	}
	given[option] = strdup(value);
	return 0;
}

static struct spank_option options[] = {
	{ "container-image", "IMAGE|PATH", "the image", 1, IMAGE, take },
	{ "container-mounts", "SRC:DST[:FLAGS],...", "bind mounts", 1, MOUNTS, take },
	{ "container-workdir", "PATH", "working directory", 1, WORKDIR, take },
	{ "no-container-mount-home", NULL, "without the home directory", 0, NO_HOME, take },
	{ "container-mount-home", NULL, "not here", 0, OTHER, take },
	{ "container-name", "NAME", "not here", 1, OTHER, take },
	{ "container-save", "PATH", "not here", 1, OTHER, take },
	{ "container-remap-root", NULL, "not here", 0, OTHER, take },
	{ "no-container-remap-root", NULL, "not here", 0, OTHER, take },
	{ "container-entrypoint", NULL, "not here", 0, OTHER, take },
	{ "no-container-entrypoint", NULL, "not here", 0, OTHER, take },
	{ "container-writable", NULL, "not here", 0, OTHER, take },
	{ "container-readonly", NULL, "not here", 0, OTHER, take },
	{ "container-env", "NAME,...", "not here", 1, OTHER, take },
	SPANK_OPTIONS_TABLE_END
};

int slurm_spank_init(spank_t spank, int count, char *arguments[])
{
	if (spank_context() != S_CTX_LOCAL && spank_context() != S_CTX_REMOTE)
		return 0;
	for (struct spank_option *each = options; each->name != NULL; each++)
		if (spank_option_register(spank, each) != ESPANK_SUCCESS)
			return -1;
	return 0;
}

/* Furnishes this process's own mount namespace; 0 when it is done. */
static int furnish(const char *program, const char *folder)
{
	int status;
	pid_t child = fork();
	if (child == 0) {
		execl(program, program, folder, given[IMAGE], given[MOUNTS] ? given[MOUNTS] : "", NULL);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* enroot keeps the image's variables in this file. */
static void set_variables(spank_t spank)
{
	char *line = NULL;
	size_t size = 0;
	FILE *file = fopen("/etc/environment", "r");
	if (file == NULL)
		return;
	while (getline(&line, &size, file) > 0) {
		char *value = strchr(line, '=');
		line[strcspn(line, "\n")] = '\0';
		if (value != NULL) {
			*value = '\0';
			spank_setenv(spank, line, value + 1, 1);
		}
	}
	free(line);
	fclose(file);
}

int slurm_spank_task_init(spank_t spank, int count, char *arguments[])
{
	char folder[4096];
	int error;
	if (given[IMAGE] == NULL)
		return 0;
	if (count != 2) {
		slurm_error("pyxis stand-in: plugstack.conf names a program and a folder");
		return -1;
	}
	snprintf(folder, sizeof folder, "%s/%d", arguments[1], (int) getpid());
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
		slurm_error("pyxis stand-in: no mount namespace: %s", strerror(errno));
		return -1;
	}
	error = furnish(arguments[0], folder);
	if (error != 0) {
		slurm_error("pyxis stand-in: %s can't be entered: %d", given[IMAGE], error);
		return -1;
	}
	strncat(folder, "/root", sizeof folder - strlen(folder) - 1);
	if (chroot(folder) != 0 || chdir(given[WORKDIR] ? given[WORKDIR] : "/") != 0) {
		slurm_error("pyxis stand-in: %s: %s", folder, strerror(errno));
		return -1;
	}
	set_variables(spank);
	return 0;
}

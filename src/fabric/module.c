/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/fabric.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/descriptor.h"
#include "fabric/module_dir.h"

#define MODULE_FILE "perdure-fabric-ofi.so"
#define MODULE_SYMBOL "perdure_fabric_module"

/*
 * RTLD_DEEPBIND lets the module stand between libfabric and libc (ofi_process.c); the sanitizers'
 * runtimes refuse it, and their builds do without that protection.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MODULE_FLAGS (RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE)
#else
#define MODULE_FLAGS (RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE | RTLD_DEEPBIND)
#endif

static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;
static const struct fabric_module *loaded; /* under load_lock */

/* The folder of the object that holds this code, without the final slash. */
static int own_folder(char *ret_folder, size_t bytes)
{
	Dl_info info;
	char path[PATH_MAX];
	char *slash;

	if (!dladdr((void *)own_folder, &info) || !info.dli_fname)
		return -ENOENT;
	/* For the main program this is argv[0], which need not be a path. */
	if (!strchr(info.dli_fname, '/') || !realpath(info.dli_fname, path)) {
		if (!realpath("/proc/self/exe", path))
			return -errno;
	}
	slash = strrchr(path, '/');
	if (!slash || (size_t)(slash - path) >= bytes)
		return -ENAMETOOLONG;
	*slash = '\0';
	memcpy(ret_folder, path, (size_t)(slash - path) + 1);
	return 0;
}

static void *try_folder(const char *folder, const char *below, char *ret_reason, size_t bytes)
{
	char path[PATH_MAX];
	void *handle;

	if (snprintf(path, sizeof(path), "%s%s/%s", folder, below, MODULE_FILE) >=
	    (int)sizeof(path))
		return NULL;
	handle = dlopen(path, MODULE_FLAGS);
	if (!handle) {
		const char *reason = dlerror();

		/* A file that is there and cannot be loaded says more than one that is not. */
		if (!ret_reason[0] || !strstr(reason, "No such file"))
			snprintf(ret_reason, bytes, "%s", reason);
	}
	return handle;
}

static void *find_module(char *ret_reason, size_t bytes)
{
	/* Beside the binary; in a build tree src/fabric is a neighbour of src/cli and of tests/X.
	 */
	static const char *const below[] = { "", "/../fabric", "/../src/fabric",
					     "/../../src/fabric", "/../lib/perdure" };
	const char *named = secure_getenv("PERDURE_MODULE_DIR");
	char folder[PATH_MAX];
	void *handle = NULL;

	ret_reason[0] = '\0';
	if (named && named[0])
		handle = try_folder(named, "", ret_reason, bytes);
	if (!handle && !own_folder(folder, sizeof(folder))) {
		for (unsigned i = 0; i < ARRAY_COUNT(below) && !handle; i++)
			handle = try_folder(folder, below[i], ret_reason, bytes);
	}
	if (!handle)
		handle = try_folder(FABRIC_MODULE_DIR, "", ret_reason, bytes);
	return handle;
}

static int load(struct error *why)
{
	char reason[ERROR_TEXT_BYTES / 2];
	const struct fabric_module *module;
	void *handle = find_module(reason, sizeof(reason));

	if (!handle)
		return error_set(why, -ELIBACC, "cannot load " MODULE_FILE ": %s", reason);
	module = dlsym(handle, MODULE_SYMBOL);
	if (!module || module->version != FABRIC_MODULE_VERSION)
		return error_set(why, -ELIBBAD, MODULE_FILE " is of another version of Perdure");
	module->use_descriptors(descriptor_table());
	loaded = module;
	return 0;
}

int fabric_load(const struct fabric_module **ret_module, struct error *why)
{
	int ret = 0;

	pthread_mutex_lock(&load_lock);
	if (!loaded)
		ret = load(why);
	if (!ret)
		*ret_module = loaded;
	pthread_mutex_unlock(&load_lock);
	return ret;
}

const struct fabric_ops *fabric_of(const struct fabric_module *module,
				   enum fabric_transport transport)
{
	return transport == FABRIC_CMA ? &fabric_cma_ops : module->ops;
}

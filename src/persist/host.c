/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/host.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/cleanup.h"

#define PATH "/etc/machine-id"
#define PREFIX "perdure image "
#define ID_CHARACTERS 32

int host_id(uint8_t ret_id[IMAGE_ID_BYTES], struct error *why)
{
	char text[sizeof(PREFIX) + ID_CHARACTERS] = PREFIX;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int digest_bytes;
	CLEANUP_FD int fd = open(PATH, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text + strlen(PREFIX), ID_CHARACTERS) != ID_CHARACTERS)
		return error_set(why, fd < 0 ? -errno : -EINVAL,
				 "\"%s\" has no identity of this host: "
				 "systemd-machine-id-setup makes one",
				 PATH);
	if (!EVP_Digest(text, strlen(text), digest, &digest_bytes, EVP_sha256(), NULL))
		return error_set(why, -EIO, "no SHA-256 in libcrypto");
	memcpy(ret_id, digest, IMAGE_ID_BYTES);
	return 0;
}

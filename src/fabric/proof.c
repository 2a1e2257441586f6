/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/ofi.h"

#include <errno.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

static int update_and_finish(EVP_MAC_CTX *ctx, const void *first, size_t first_bytes,
			     const void *second, size_t second_bytes, uint8_t *ret_proof)
{
	size_t bytes;

	if (!EVP_MAC_update(ctx, first, first_bytes) ||
	    !EVP_MAC_update(ctx, second, second_bytes) ||
	    !EVP_MAC_final(ctx, ret_proof, &bytes, FABRIC_PROOF_BYTES))
		return -EIO;
	return bytes == FABRIC_PROOF_BYTES ? 0 : -EIO;
}

int ofi_proof(const void *key, size_t key_bytes, const void *first, size_t first_bytes,
	      const void *second, size_t second_bytes, uint8_t ret_proof[FABRIC_PROOF_BYTES])
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
	int ret = -ENOMEM;

	/* An empty key is a key here (a node without a key file, on loopback only). */
	if (ctx && EVP_MAC_init(ctx, key_bytes ? key : (const void *)"", key_bytes, params))
		ret = update_and_finish(ctx, first, first_bytes, second, second_bytes, ret_proof);
	EVP_MAC_CTX_free(ctx);
	EVP_MAC_free(mac);
	return ret;
}

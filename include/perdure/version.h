/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PERDURE_VERSION_H
#define PERDURE_VERSION_H

/*
 * The version of this installation. Perdure is used by its commands; what other programs can use
 * of it are the headers beside this one, with libperdure. This header and perdure.pc let a build
 * find which version is installed, and where the modules lie (pkg-config --variable=moduledir
 * perdure).
 */
#define PERDURE_VERSION_MAJOR 0
#define PERDURE_VERSION_MINOR 1
#define PERDURE_VERSION_PATCH 0

#endif

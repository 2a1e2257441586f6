/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_MODEL_RECORD_H
#define CLI_MODEL_RECORD_H

/* `perdure model record`: argv[0] is "record". Returns the exit code, the program's own if it ran.
 */
int model_record(int argc, char **argv);

#endif

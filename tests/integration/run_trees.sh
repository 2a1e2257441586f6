#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Trees of processes through sh, xargs and perl, and programs that start programs.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

command -v perl > /dev/null || skip "perl is missing (apt install perl)"
cat > "$WORK/tree.pl" <<- 'END'
	use strict; use warnings;
	my @lines = map { "$_ " . ($_ * 7919 % 99991) x 40 } 1 .. 120_000;
	sub sum { my $sum = 0; $sum = ($sum * 31 + unpack("%32C*", $_)) % 1_000_003 for @lines; $sum }
	my $before = sum();
	for my $child (1 .. 4) {
		my $pid = fork() // die;
		if ($pid == 0) {
			die "as at the fork\n" if sum() != $before;
			$_ .= $child for @lines;
			my $inner = fork() // die;
			exit(sum() == $before) if $inner == 0;
			waitpid($inner, 0);
			exit($? >> 8);
		}
	}
	for (1 .. 4) { wait() > 0 or die; die "child: $?\n" if $?; }
	die "the parent's own\n" if sum() != $before;
	print "$before ", `echo from a shell`, `sh -c 'echo deeper; exit 0'`;
END
same_output 60 10M "mem tcp" perl "$WORK/tree.pl"
cat > "$WORK/tree.sh" <<- 'END'
	seq 1 24 | xargs -P 4 -n 3 sh -c 'for n; do (perl -e "
		my @all = map { \$_ x 900 } 1 .. 20000; my \$length = 0;
		\$length += length for @all; print \"$n \$length\n\""); done' sh | sort -n
	perl -e 'my $text = "x" x 50_000_000; system("echo $$ > /dev/null"); print length($text), "\n";
		exec "echo", "the end"'
END
same_output 60 8M "mem shm" sh "$WORK/tree.sh"

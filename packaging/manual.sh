#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# manual.sh EPHOR: ephor(1) from what `EPHOR --help` says, so that it cannot say anything else.
set -eu
help=$("$1" --help)
version=$("$1" --version | sed 's/^ephor //')
cat <<END_OF_HEAD
.TH EPHOR 1 "" "Ephor $version" "User Commands"
.SH NAME
ephor \\- overseer of trading systems run by machine\\-learned models
.SH SYNOPSIS
.B ephor
.I COMMAND
[\\fIoptions\\fR]
.SH DESCRIPTION
A small host with one ordered log of events. Everything it can do is a plugin, a shared library
that reads this log: traces, metrics, models, ensembles, trades, alerts, reports.
.PP
The Debian package runs it as the service
.B ephor.service
with
.I /etc/ephor/ephor.yaml
and the data directory
.IR /var/lib/ephor .
It listens on 127.0.0.1:8780.
.SH COMMANDS AND OPTIONS
.nf
END_OF_HEAD
printf '%s\n' "$help" | sed -e 's/\\/\\e/g' -e 's/-/\\-/g' -e "s/^\\([.']\\)/\\\\\\&\\1/"
cat <<'END_OF_TAIL'
.fi
.SH ENVIRONMENT
.TP
.B EPHOR_PLUGIN_PATH
Folders with plugins, separated by colons. They are searched after
.I plugin_path
of the configuration and before
.I ../lib/ephor/plugins
beside the program.
.TP
.B EPHOR_RUNNER
The program for plugins in processes of their own, if it is not
.IR ../lib/ephor/ephor\-runner .
.SH FILES
.TP
.I /etc/ephor/ephor.yaml
The configuration of the service.
.TP
.I /etc/ephor/environment
NAME=value lines for
.B ${NAME}
in it; optional.
.TP
.I /usr/lib/ephor/plugins
The plugins.
.TP
.I /usr/share/doc/ephor/operations
How to operate it.
END_OF_TAIL

package main

import (
	"runtime"
	"runtime/debug"

	"github.com/usher-sidecar/usher/sidecar"
)

// number and commit are set by release builds:
//
//	go build -ldflags "-X main.number=v1.2.3 -X main.commit=abcdef0"
var number, commit string

// version returns which build this is. What the build did not set comes from the Go
// tool's own stamp.
func version() sidecar.Version {
	v := sidecar.Version{Number: number, Commit: commit, Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if ok && v.Number == "" && info.Main.Version != "" {
		v.Number = info.Main.Version
	}
	if ok && v.Commit == "" {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value
			}
		}
	}
	if v.Number == "" {
		v.Number = "(devel)"
	}
	if v.Commit == "" {
		v.Commit = "unknown"
	}
	return v
}

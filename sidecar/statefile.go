package sidecar

import (
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// A stateFileNote says what last happened to the state file while in use, for the
// status page; nil if nothing did.
type stateFileNote struct{ text atomic.Pointer[string] }

// reportStateFile is called by the ledger when something happens to its file.
func (s *Sidecar) reportStateFile(fault, unmade error) {
	note := func(format string, args ...any) {
		text := fmt.Sprintf("USHER_STATE_FILE: "+format, args...)
		s.stateFile.text.Store(&text)
	}
	at := time.Now().Format(time.RFC3339)
	switch {
	case fault == nil:
		note("it is in order again since %s", at)
		s.log.Info("state file is in order again")
	case unmade == nil:
		note("%s: %v; it was recreated", at, fault)
		s.log.Error("state file was damaged while in use; it was recreated from the window in memory", zap.Error(fault))
	default:
		note("%s: %v; it cannot be recreated: %v. A restart would let used tickets pass", at, fault, unmade)
		s.log.Error("state file was damaged while in use and cannot be recreated; a restart would let used tickets pass",
			zap.Error(fault), zap.String("unmade", unmade.Error()))
	}
}

// warnings returns what the status page warns about besides the settings.
func (s *Sidecar) warnings() (list []string) {
	if s.crowding != "" {
		list = append(list, s.crowding)
	}
	if note := s.stateFile.text.Load(); note != nil {
		list = append(list, *note)
	}
	if s.certificates != nil {
		list = append(list, s.certificates.warnings()...)
	}
	return list
}

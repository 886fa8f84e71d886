package sidecar

import "fmt"

// descriptorsKept are those that no client may take: standard streams, two
// listeners and that of the profiles, pollers, the state file and its lock, the
// prober, the key, certificates that are read again, spans, one client that is
// accepted and waits for room, and some ten operators.
const descriptorsKept = 32

// affordable is how many clients may be connected where so many descriptors may
// be open: each may need another for its line to the model server, but no more
// than there are slots (0: no limit). At least 1; wanted, if that is fewer.
func affordable(descriptors uint64, wanted, slots int) int {
	if descriptors > 1<<24 {
		return wanted
	}
	left := int(descriptors) - descriptorsKept
	clients := left / 2
	if slots > 0 {
		clients = max(clients, left-slots)
	}
	return max(1, min(wanted, clients))
}

// limitConnections lowers the number of connections to what the descriptors
// allow; warning says so.
func limitConnections(descriptors uint64, wanted, slots int) (connections int, warning string) {
	connections = affordable(descriptors, wanted, slots)
	if connections < wanted {
		warning = fmt.Sprintf("USHER_MAX_CONNECTIONS is lowered from %d to %d: this process may have %d descriptors open (ulimit -n), "+
			"and those of the model server, operators and files are kept free", wanted, connections, descriptors)
	}
	return connections, warning
}

// evicted is how many idle connections were closed to make room.
func (s *Sidecar) evicted() uint64 {
	if s.public == nil { // before Listen
		return 0
	}
	return s.public.Stats().Evicted
}

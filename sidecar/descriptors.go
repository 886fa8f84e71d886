package sidecar

import "fmt"

// descriptorsKept is how many descriptors are reserved for other things than clients:
// standard streams, listeners, pollers and one loop for streams, the state file and its
// lock, the prober, the key, certificates that are re-read, spans, an accepted client
// that waits for room, and about ten operators.
const descriptorsKept = 32

// affordable returns how many clients may be connected with that many descriptors, of
// which others are reserved, too. Each may need a second one for its connection to the
// model server, but no more than there are slots (0: no limit). The result is at least 1
// and at most wanted.
func affordable(descriptors uint64, wanted, slots, others int) int {
	if descriptors > 1<<24 {
		return wanted
	}
	left := int(descriptors) - descriptorsKept - others
	clients := left / 2
	if slots > 0 {
		clients = max(clients, left-slots)
	}
	return max(1, min(wanted, clients))
}

// limitConnections lowers the number of connections to what the descriptors allow,
// and returns a warning if it did.
func limitConnections(descriptors uint64, wanted, slots, others int) (connections int, warning string) {
	connections = affordable(descriptors, wanted, slots, others)
	if connections < wanted {
		warning = fmt.Sprintf("USHER_MAX_CONNECTIONS is lowered from %d to %d: this process may have %d descriptors open (ulimit -n), "+
			"and those of the model server, operators and files are kept free", wanted, connections, descriptors)
	}
	return connections, warning
}

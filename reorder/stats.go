package reorder

import "time"

// Stats is a snapshot of a Buffer. Counters never decrease. Each call of Admit is
// counted in exactly one of Admitted, RefusedFull, TimedOut, Cancelled and Waiting.
type Stats struct {
	Slots        int           // limit in force; 0: no limit
	InFlight     int           // slots taken
	Waiting      int           // requests that wait, held or queued
	Held         int           // of those, how many wait although a slot is free
	WaitingBytes int64         // sum of their Request.Bytes
	Expected     int64         // the next number of the series used last that goes without being held; 0 before the first
	Hold         time.Duration // how long a request ahead of a gap would be held now

	Admitted    uint64 // got a slot, even if their context ended at the same instant
	RefusedFull uint64 // ErrFull
	TimedOut    uint64 // ErrTimeout
	Cancelled   uint64 // context ended while waiting

	HeldTotal uint64 // requests that were held, for however short a time
	Late      uint64 // came when their number was already below Expected
	Reordered uint64 // admitted with a number below one of its series admitted before (RFC 4737, section 3.3)

	// The same over the last ShareSpan, counting only requests with a number.
	RecentAdmitted  uint64
	RecentReordered uint64

	// Numbers that were missing when a higher one came. Those neither filled nor
	// given up are still awaited.
	GapsOpened  uint64
	GapsFilled  uint64 // came in time
	GapsGivenUp uint64 // a higher number was admitted first
}

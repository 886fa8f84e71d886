package envelope

import "github.com/usher-sidecar/usher/dialect"

// StatedWork reads what a request of the model's own, without a ticket, asks for.
// Errors are those of Open and Envelope.Work.
func StatedWork(body []byte, api *dialect.API, engine dialect.Engine) (Work, error) {
	var e Envelope
	if err := e.Wrap(Ticket{}, body); err != nil {
		return Work{}, err
	}
	return e.Work(api, engine)
}

// Wrap makes e the envelope of a request of the model's own that came beside its
// ticket. Error: ErrInvalidJSON, wrapped.
func (e *Envelope) Wrap(t Ticket, body []byte) error {
	*e = Envelope{}
	s := scanners.Get().(*scanner)
	defer s.release()
	if err := s.scan(body); err != nil {
		return err
	}
	e.Ticket, e.Payload, e.limits = t, body, s.top
	return nil
}

// Amount is the work as a number; 0 where none is stated, or no limit bounds it.
func (w Work) Amount() float64 {
	if !w.Stated || w.endless {
		return 0
	}
	return float64(w.limit) * float64(w.copies) * float64(w.prompts)
}

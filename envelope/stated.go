package envelope

import "github.com/usher-sidecar/usher/dialect"

// StatedWork returns how much work a request without a ticket asks for. Errors are
// those of Wrap and Envelope.Work.
func StatedWork(body []byte, api *dialect.API, engine dialect.Engine) (Work, error) {
	var e Envelope
	if err := e.Wrap(Ticket{}, body); err != nil {
		return Work{}, err
	}
	return e.Work(api, engine)
}

// Wrap makes e the envelope of a body that is the model's own, with a ticket that
// came separately. Error: ErrInvalidJSON, wrapped.
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

// Amount returns the work as a number; 0 if it is not stated or has no bound.
func (w Work) Amount() float64 {
	if !w.Stated || w.endless {
		return 0
	}
	return float64(w.limit) * float64(w.copies) * float64(w.prompts)
}

package modexp

var available = []Way{ARM64}

func (m *Modulus) multiply(out, a, b *number) { m.multiplyWords(out, a, b) }

func (m *Modulus) squareOf(out, a *number) { m.squareWords(out, a) }

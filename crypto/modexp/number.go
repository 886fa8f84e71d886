package modexp

import "encoding/binary"

// numberOf reads Size bytes, the highest first.
func numberOf(b []byte) (x number) {
	var words [Size/8 + 1]uint64 // the lowest first, and a zero to read into
	for i := range Size / 8 {
		words[i] = binary.BigEndian.Uint64(b[Size-8*(i+1):])
	}
	for i := range x {
		word, shift := i*digitLen/64, i*digitLen%64
		x[i] = (words[word]>>shift | words[word+1]<<(64-shift)) & mask
	}
	return x
}

// bytes is the number in Size bytes, the highest first. It must fit.
func (x *number) bytes() []byte {
	var words [Size/8 + 1]uint64
	for i, digit := range x {
		word, shift := i*digitLen/64, i*digitLen%64
		words[word] |= digit << shift
		words[word+1] |= digit >> (64 - shift) // none for a shift of 0
	}
	b := make([]byte, Size)
	for i := range Size / 8 {
		binary.BigEndian.PutUint64(b[Size-8*(i+1):], words[i])
	}
	return b
}

// below reports whether x < y.
func (x *number) below(y *number) bool {
	for i := digits - 1; i >= 0; i-- {
		if x[i] != y[i] {
			return x[i] < y[i]
		}
	}
	return false
}

// subtract makes x the difference x - y, which must not be negative.
func (x *number) subtract(y *number) {
	borrow := uint64(0)
	for i := range x {
		difference := x[i] - y[i] - borrow
		x[i], borrow = difference&mask, difference>>63
	}
}

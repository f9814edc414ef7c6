package parity

import (
	"encoding/json"
	"math"
	"strconv"
)

// A Figure is a number that a fault may have made no number: in JSON NaN and infinities are the strings "NaN", "+Inf", "-Inf".
type Figure float64

func (f Figure) MarshalJSON() ([]byte, error) {
	if x := float64(f); math.IsNaN(x) || math.IsInf(x, 0) {
		return json.Marshal(strconv.FormatFloat(x, 'g', -1, 64))
	}
	return json.Marshal(float64(f))
}

func (f *Figure) UnmarshalJSON(text []byte) error {
	s := string(text)
	if unquoted, err := strconv.Unquote(s); err == nil {
		s = unquoted
	}
	x, err := strconv.ParseFloat(s, 64)
	*f = Figure(x)
	return err
}

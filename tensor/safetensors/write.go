package safetensors

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"minisgl/tensor"
)

// Write writes a file with the tensors in the given order; metadata may be nil. The tensors' data starts at a multiple of 8.
func Write(w io.Writer, tensors []*tensor.Tensor, metadata map[string]string) error {
	type place struct {
		DType       string   `json:"dtype"`
		Shape       []int    `json:"shape"`
		DataOffsets [2]int64 `json:"data_offsets"`
	}
	fields := make(map[string]any, len(tensors)+1)
	if metadata != nil {
		fields["__metadata__"] = metadata
	}
	offset := int64(0)
	for _, t := range tensors {
		if _, ok := dtypes[t.DType.String()]; !ok {
			return fmt.Errorf("tensor %q: safetensors has no type %s", t.Name, t.DType)
		}
		if size, err := t.DType.Size(t.Shape); err != nil || size != int64(len(t.Data)) {
			return fmt.Errorf("tensor %q: %s %v does not fit %d bytes", t.Name, t.DType, t.Shape, len(t.Data))
		}
		if _, ok := fields[t.Name]; ok {
			return fmt.Errorf("tensor %q occurs twice", t.Name)
		}
		end := offset + int64(len(t.Data))
		fields[t.Name] = place{t.DType.String(), append([]int{}, t.Shape...), [2]int64{offset, end}}
		offset = end
	}
	header, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	for len(header)%8 != 0 {
		header = append(header, ' ')
	}
	if err := binary.Write(w, binary.LittleEndian, uint64(len(header))); err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, t := range tensors {
		if _, err := w.Write(t.Data); err != nil {
			return err
		}
	}
	return nil
}

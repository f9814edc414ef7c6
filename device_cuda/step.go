//go:build cuda

package cuda

import (
	"fmt"
	"unsafe"

	"minisgl/device"
	"minisgl/device_cuda/driver"
	"minisgl/device_cuda/kernels"
)

// A step travels to the card in one copy: arrays of fixed places for its bucket, then those of changing length (page tables, and
// the tokens of biases and histories) end to end. What comes before a step, page copies and histories that are set, travels by
// itself (prologue), since few steps have any.

// uploadLayout says where the parts of a bucket's steps lie, as addresses on the card.
type uploadLayout struct {
	kernels.StepLayout
	base driver.Ptr
}

func (u *uploadLayout) rowCount() driver.Ptr {
	return u.Header.Offset(int64(unsafe.Offsetof(kernels.StepHeader{}.Rows)))
}

func (u *uploadLayout) outputCount() driver.Ptr {
	return u.Header.Offset(int64(unsafe.Offsetof(kernels.StepHeader{}.Outputs)))
}

// uploadLayout lays out a bucket's steps.
func (r *runner) uploadLayout(b bucket) uploadLayout {
	u := uploadLayout{base: r.uploads}
	at := u.base
	place := func(count int, size uintptr) driver.Ptr {
		p := at
		at += driver.Ptr(roundUp(count*int(size), 16))
		return p
	}
	u.Header = place(1, unsafe.Sizeof(kernels.StepHeader{}))
	u.Tokens = place(b.rows, 4)
	u.Positions = place(b.rows, 4)
	u.Cells = place(b.rows, 4)
	u.Selected = place(b.outputs, 4)
	u.Outputs = place(b.outputs, unsafe.Sizeof(kernels.OutputParams{}))
	u.Items = place(r.kernels.AttentionItems(b.rows), unsafe.Sizeof(kernels.AttentionItem{}))
	u.Tables = at
	u.Lists = at
	return u
}

// Room for page copies and history resets in one prologue; more of them take several.
const prologueRoom = 256

func (r *runner) prologueLayout() uploadLayout {
	u := uploadLayout{base: r.uploads}
	u.Header = u.base
	u.Copies = u.Header.Offset(int64(unsafe.Sizeof(kernels.StepHeader{})))
	u.Resets = u.Copies.Offset(prologueRoom * int64(unsafe.Sizeof(device.PageCopy{})))
	u.Lists = u.Resets.Offset(prologueRoom * int64(unsafe.Sizeof(kernels.ResetParams{})))
	return u
}

// staged is pinned memory in which steps wait for their upload. It grows as needed.
type staged struct {
	card *driver.Card
	driver.Pinned
}

// room makes sure of so many bytes. What was there is lost.
func (s *staged) room(bytes int) error {
	if len(s.Bytes) >= bytes {
		return nil
	}
	if len(s.Bytes) > 0 {
		if err := s.card.FreePinned(s.Pinned); err != nil {
			return err
		}
		s.Pinned = driver.Pinned{}
	}
	p, err := s.card.AllocPinned(roundUp(bytes+bytes/2, 4096))
	if err == nil {
		s.Pinned = p
	}
	return err
}

// place returns n values of type T at an address of the card within the upload.
func place[T any](s *staged, base, at driver.Ptr, n int) []T {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&s.Bytes[at-base])), n)
}

// pack writes a step as bucket b's plan expects it and returns the number of bytes to upload. Its results are to go to results.
func (r *runner) pack(s *device.Step, b bucket, upload *staged, results driver.Ptr) (int, error) {
	rows := stepRows(s)
	r.params, r.lists = r.params[:0], r.lists[:0]
	r.firstTables = r.firstTables[:0]
	for i := range s.Sequences {
		q := &s.Sequences[i]
		r.firstTables = append(r.firstTables, int32(len(r.lists)))
		pages := (int(q.Position+q.Rows) + r.options.PageSize - 1) / r.options.PageSize
		r.lists = append(r.lists, q.Pages[:pages]...)
	}
	r.items = r.kernels.PlanAttention(r.items[:0], s.Sequences, r.firstTables)
	r.params, r.lists = r.kernels.AppendOutputs(r.params, r.lists, s.Outputs, results)
	if most := r.kernels.AttentionItems(b.rows); len(r.items) > most {
		return 0, fmt.Errorf("%d attention items, the plan has room for %d", len(r.items), most)
	}

	u := r.uploadLayout(b)
	bytes := int(u.Lists-u.base) + 4*len(r.lists)
	if err := upload.room(bytes); err != nil {
		return 0, err
	}
	place[kernels.StepHeader](upload, u.base, u.Header, 1)[0] = kernels.StepHeader{Rows: int32(rows), Outputs: int32(len(s.Outputs)),
		Items: int32(len(r.items))}
	copy(place[int32](upload, u.base, u.Tokens, rows), s.Tokens)
	positions, cells := place[int32](upload, u.base, u.Positions, rows), place[int32](upload, u.base, u.Cells, rows)
	size := int32(r.options.PageSize)
	for i := range s.Sequences {
		q := &s.Sequences[i]
		for k := range q.Rows {
			position := q.Position + k
			positions[q.First+k] = position
			cells[q.First+k] = q.Pages[position/size]*size + position%size
		}
	}
	selected := place[int32](upload, u.base, u.Selected, len(s.Outputs))
	for i := range s.Outputs {
		selected[i] = s.Outputs[i].Row
	}
	copy(place[kernels.OutputParams](upload, u.base, u.Outputs, len(r.params)), r.params)
	copy(place[kernels.AttentionItem](upload, u.base, u.Items, len(r.items)), r.items)
	copy(place[int32](upload, u.base, u.Lists, len(r.lists)), r.lists)
	return bytes, nil
}

// stepRows is the number of rows of a step without its padding.
func stepRows(s *device.Step) int {
	if len(s.Sequences) == 0 {
		return 0
	}
	last := &s.Sequences[len(s.Sequences)-1]
	return int(last.First + last.Rows)
}

// packPrologue writes some of a step's copies and resets.
func (r *runner) packPrologue(copies []device.PageCopy, resets []device.SlotReset, upload *staged) (int, error) {
	r.resets, r.lists = r.kernels.AppendResets(r.resets[:0], r.lists[:0], resets)
	u := r.prologueLayout()
	bytes := int(u.Lists-u.base) + 4*len(r.lists)
	if err := upload.room(bytes); err != nil {
		return 0, err
	}
	place[kernels.StepHeader](upload, u.base, u.Header, 1)[0] = kernels.StepHeader{Copies: int32(len(copies)), Resets: int32(len(resets))}
	copy(place[device.PageCopy](upload, u.base, u.Copies, len(copies)), copies)
	copy(place[kernels.ResetParams](upload, u.base, u.Resets, len(resets)), r.resets)
	copy(place[int32](upload, u.base, u.Lists, len(r.lists)), r.lists)
	return bytes, nil
}

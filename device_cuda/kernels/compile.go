//go:build cuda

package kernels

import (
	"embed"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"minisgl/device_cuda/driver"
	"minisgl/tensor"
)

//go:embed *.cu *.cuh
var files embed.FS

// A Source is one .cu file: a module of its own.
type Source struct {
	Name string // without .cu
	Text string
}

// Sources returns the modules, by name.
func Sources() []Source {
	var sources []Source
	for name, text := range embedded(".cu") {
		sources = append(sources, Source{strings.TrimSuffix(name, ".cu"), text})
	}
	slices.SortFunc(sources, func(a, b Source) int { return strings.Compare(a.Name, b.Name) })
	return sources
}

// Headers returns what sources include, by file name.
func Headers() map[string]string { return embedded(".cuh") }

func embedded(extension string) map[string]string {
	entries, _ := files.ReadDir(".") // the folder is part of the program
	texts := make(map[string]string)
	for _, entry := range entries {
		if path.Ext(entry.Name()) == extension {
			text, _ := files.ReadFile(entry.Name())
			texts[entry.Name()] = string(text)
		}
	}
	return texts
}

// Defines returns the macros that a shape gives to every module: "HEADS=14".
func (s Shape) Defines() []string {
	element := map[tensor.DType]string{tensor.F32: "ELEMENT_F32", tensor.F16: "ELEMENT_F16"}[s.Element]
	if element == "" {
		element = "ELEMENT_BF16"
	}
	return []string{
		element + "=1",
		fmt.Sprintf("HEADS=%d", s.Heads),
		fmt.Sprintf("KV_HEADS=%d", s.KVHeads),
		fmt.Sprintf("HEAD_DIM=%d", s.HeadDim),
		fmt.Sprintf("PAGE_SIZE=%d", s.PageSize),
		fmt.Sprintf("VOCAB=%d", s.Vocab),
	}
}

// Compile compiles every module for a card, all at once. progress, if set, is told the share that is done, in (0, 1]; its calls do
// not overlap.
func Compile(card *driver.Card, shape Shape, progress func(done float64)) (*Set, error) {
	return compile(card, shape, Sources(), progress)
}

func compile(card *driver.Card, shape Shape, sources []Source, progress func(done float64)) (*Set, error) {
	set := &Set{Shape: shape, card: card, info: card.Info(), modules: make(map[string]*driver.Module)}
	if err := set.checkAttention(); err != nil {
		return nil, err
	}
	headers, defines := Headers(), shape.Defines()
	var (
		running sync.WaitGroup
		lock    sync.Mutex
		failed  error
	)
	for _, source := range sources {
		running.Go(func() {
			module, err := card.Compile(source.Name+".cu", source.Text, headers, defines)
			lock.Lock()
			defer lock.Unlock()
			if err != nil {
				failed = errors.Join(failed, err)
				return
			}
			set.modules[source.Name] = module
			if progress != nil {
				progress(float64(len(set.modules)) / float64(len(sources)))
			}
		})
	}
	running.Wait()
	if failed != nil {
		return nil, failed
	}
	return set, nil
}

// Close unloads the kernels. Plans that have any of them must be closed.
func (s *Set) Close() error {
	var errs []error
	for _, module := range s.modules {
		errs = append(errs, module.Close())
	}
	return errors.Join(errs...)
}

// launch describes a launch of one of our kernels. Its grid may be empty in no dimension. A kernel that the module does not have
// becomes a launch that the driver refuses by name.
func (s *Set) launch(module, kernel string, grid [3]int, block, shared int, params []byte) driver.Launch {
	function, err := s.modules[module].Function(kernel)
	if err != nil {
		function = driver.Function{Name: kernel}
	}
	return driver.Launch{Function: function, Grid: grid, Block: block, Shared: shared, Params: params, Dependent: true}
}

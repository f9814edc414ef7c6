package minisgl_test

import (
	"context"
	"fmt"

	"minisgl"
)

func Example() {
	ctx := context.Background()
	llm, err := minisgl.Open(ctx, minisgl.Options{Model: minisgl.Demo, Device: "cpu"})
	if err != nil {
		panic(err)
	}
	defer llm.Close()

	outputs, err := llm.Generate(ctx, []string{"Once upon a time"}, minisgl.Params{MaxTokens: 10})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%q %s\n", outputs[0].Text, outputs[0].Finish.Reason)

	stream, err := llm.Stream(ctx, minisgl.Request{Messages: []minisgl.Message{
		{Role: "system", Content: "Answer in one word."},
		{Role: "user", Content: "What is the opposite of hot?"},
	}})
	if err != nil {
		panic(err)
	}
	for stream.Next() {
		fmt.Print(stream.Chunk().Text)
	}
	fmt.Println()
	// Output:
	// ", there was a little boy named Tom. He" length
	// Cold.
}

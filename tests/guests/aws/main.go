// SPDX-License-Identifier: Apache-2.0

// What AWS's SDK for Go gets from the metadata service: its clients are the defaults, which ask at 169.254.169.254. Prints
// a line for each answer.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

func must(what string, err error) {
	if err != nil {
		fmt.Printf("%s: %v\n", what, err)
		os.Exit(1)
	}
}

func read(what string, content io.ReadCloser, err error) string {
	must(what, err)
	defer content.Close()
	text, err := io.ReadAll(content)
	must(what, err)
	return string(text)
}

func main() {
	ctx := context.Background()
	client := imds.New(imds.Options{})

	id, err := client.GetMetadata(ctx, &imds.GetMetadataInput{Path: "instance-id"})
	must("instance-id", err)
	fmt.Println("instance-id", read("instance-id", id.Content, nil))

	data, err := client.GetUserData(ctx, &imds.GetUserDataInput{})
	must("user-data", err)
	fmt.Println("user-data", read("user-data", data.Content, nil))

	region, err := client.GetRegion(ctx, &imds.GetRegionInput{})
	must("region", err)
	fmt.Println("region", region.Region)

	role, err := ec2rolecreds.New(func(options *ec2rolecreds.Options) { options.Client = client }).Retrieve(ctx)
	must("credentials", err)
	fmt.Println("credentials", role.AccessKeyID, role.SecretAccessKey, role.SessionToken)
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const patience = 60 * time.Second

// raw passes messages through as bytes.
type raw struct{}

func (raw) Marshal(value any) ([]byte, error) { return *value.(*[]byte), nil }
func (raw) Name() string                      { return "proto" }
func (raw) Unmarshal(data []byte, value any) error {
	*value.(*[]byte) = data
	return nil
}

type grpcSender struct {
	connection *grpc.ClientConn
	method     string
	payload    []byte
}

func newGRPC(address, method string, payload []byte) (sender, error) {
	connection, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{}), grpc.MaxCallRecvMsgSize(math.MaxInt32)))
	return &grpcSender{connection, method, payload}, err
}

func (a *grpcSender) send(ctx context.Context) (string, int) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var answer []byte
	if err := a.connection.Invoke(ctx, a.method, &a.payload, &answer, grpc.WaitForReady(true)); err != nil {
		return status.Code(err).String() + ": " + status.Convert(err).Message(), 0
	}
	return "", len(answer)
}

func (a *grpcSender) close() { _ = a.connection.Close() }

type httpSender struct {
	client  *http.Client
	url     string
	payload []byte
}

func newHTTP(address, path string, payload []byte) sender {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableCompression: true}}
	return &httpSender{client, "http://" + address + path, payload}
}

func (a *httpSender) send(ctx context.Context) (string, int) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, bytes.NewReader(a.payload))
	if err != nil {
		return err.Error(), 0
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := a.client.Do(request)
	if err != nil {
		return err.Error(), 0
	}
	defer response.Body.Close()
	received, err := io.Copy(io.Discard, response.Body)
	if err != nil {
		return err.Error(), 0
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Sprint("HTTP ", response.StatusCode), 0
	}
	return "", int(received)
}

func (a *httpSender) close() { a.client.CloseIdleConnections() }

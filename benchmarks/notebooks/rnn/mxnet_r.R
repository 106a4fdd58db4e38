# GRU in MXNet from R: a Module, and a DataBatch cut from R's own arrays per batch.
library(reticulate)
mx <- import("mxnet")
common <- import("common")

params <- common$parameters("rnn")
samples <- common$arrays("rnn")
x_train <- samples[[1]]
y_train <- samples[[2]]

x <- mx$sym$Embedding(mx$sym$Variable("data"), input_dim = params$vocabulary, output_dim = params$embedding)
cell <- mx$rnn$FusedRNNCell(num_hidden = params$hidden, num_layers = 1L, mode = "gru")
outputs <- cell$unroll(params$length, inputs = x, layout = "NTC", merge_outputs = TRUE)[[1]]
last <- mx$sym$slice_axis(outputs, axis = 1L, begin = params$length - 1L, end = params$length)
x <- mx$sym$FullyConnected(data = last, num_hidden = params$n_classes)
softmax <- mx$sym$SoftmaxOutput(data = x, name = "softmax")
shape <- tuple(params$batch_size, params$length)
optimizer <- "adam"
settings <- dict(
  learning_rate = params$learning_rate, beta1 = params$beta_1, beta2 = params$beta_2, epsilon = params$epsilon
)
rows <- function(order) x_train[order, ]

model <- mx$mod$Module(context = mx$cpu(), symbol = softmax)
model$bind(
  data_shapes = list(tuple("data", shape)),
  label_shapes = list(tuple("softmax_label", tuple(params$batch_size)))
)
model$init_params(initializer = mx$init$Xavier(rnd_type = "uniform"))
model$init_optimizer(optimizer = optimizer, optimizer_params = settings)

clock <- common$Clock(mx$`__version__`, wait = mx$nd$waitall)
for (epoch in seq_len(common$EPOCHS)) {
  order <- sample(length(y_train))
  for (step in seq_len(length(y_train) %/% params$batch_size)) {
    chosen <- order[(step - 1) * params$batch_size + seq_len(params$batch_size)]
    x <- mx$nd$array(rows(chosen))
    y <- mx$nd$array(y_train[chosen])
    model$forward(mx$io$DataBatch(data = list(x), label = list(y)), is_train = TRUE)
    model$backward()
    model$update()
  }
  clock$lap()
}

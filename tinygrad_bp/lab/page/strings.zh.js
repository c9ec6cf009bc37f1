// What the laboratory says, in Simplified Chinese.

Object.assign(WORDS, {
  lab: {
    title: "反向传播实验室",
    purpose: "输入一个公式，查看它的计算图，单步走完它的梯度。也可以写几行 Python。",
    formula: "公式", show: "显示", gallery: "例子", python: "Python", run: "运行", stop: "停止", link: "复制链接",
    code: "几行 Python；显示最后一行的结果", printed: "打印输出", page: "计算图，单步演示", runner: "Python",
    other: "English",
    loading: (done, all) => `正在获取 Python，${done} / ${all} MB`, starting: "正在启动 Python", working: "正在计算",
    copied: "链接已复制：其中有公式或代码，以及数值。",
    notCopied: "浏览器不允许复制链接：请从地址栏复制。",
    waits: "这个链接带有 Python 代码。请先阅读；按“运行”后才会执行，不能访问网络和你的文件。",
    corrupt: "这个链接无法读取，或者太长。下面是一些例子。",
    tooLong: "内容太长，放不进链接：最多 20,000 个字符。",
    different: "取到的是另一个文件",
    unserved: why => `实验室的文件没有取到（${why}）。它需要一个网页服务器：python -m http.server --directory FOLDER`,
    ended: "Python 已终止，并重新启动。很深的计算图或占用太多内存会导致这种情况。",
    failed: why => `Python 没能启动：${why}`,
    stopped: "已停止。Python 已重新启动。",
    examples: {neuron: "一个神经元", twice: "a + a", lecture: "课上的表达式", softmax: "Softmax",
      attention: "注意力", network: "一个小网络", trace: "一个已发表的错误", quadratic: "一个已发表的拟合"},
  },
});
